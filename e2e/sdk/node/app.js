// A service with nothing of OpenTelemetry in it but its log records: @opentelemetry/auto-instrumentations-node does the rest,
// by NODE_OPTIONS and environment variables alone. What it serves is said in ../doc.go.
'use strict';

const http = require('node:http');
const { logs, SeverityNumber } = require('@opentelemetry/api-logs');

const name = process.env.OTEL_SERVICE_NAME;
const next = process.env.NEXT;
const log = logs.getLogger('shop');

const server = http.createServer((request, response) => {
  const kind = request.url.split('/').pop();
  log.emit({ severityNumber: SeverityNumber.INFO, severityText: 'INFO', body: `${name} serves ${kind}`, attributes: { 'order.kind': kind } });
  const answer = (status) => setTimeout(() => {
    response.statusCode = status;
    response.end(kind);
  }, kind === 'slow' ? 1200 : 0);
  if (!next) return answer(kind === 'error' ? 500 : 200);
  http.get(next + request.url, (reply) => {
    reply.resume();
    reply.on('end', () => answer(200));
  }).on('error', () => answer(502));
});

server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
process.on('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
});
