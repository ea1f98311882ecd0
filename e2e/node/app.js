// An HTTP server and its client in one process, instrumented by the OpenTelemetry SDK without a line of ours in either.
// The exporter is chosen by OTEL_EXPORTER_OTLP_PROTOCOL alone. Prints one JSON line per request: its kind and trace id.
'use strict';

const { NodeSDK } = require('@opentelemetry/sdk-node');
const { HttpInstrumentation } = require('@opentelemetry/instrumentation-http');

// Before http is loaded, so that it is instrumented.
const sdk = new NodeSDK({ instrumentations: [new HttpInstrumentation()] });
sdk.start();

const http = require('node:http');
const { trace } = require('@opentelemetry/api');
const { logs, SeverityNumber } = require('@opentelemetry/api-logs');

const FAST = 30;
const log = logs.getLogger('shop');

const server = http.createServer((request, response) => {
  const kind = request.url.slice(1);
  log.emit({ severityNumber: SeverityNumber.INFO, severityText: 'INFO', body: `serving ${kind}` });
  response.setHeader('x-trace-id', trace.getActiveSpan().spanContext().traceId);
  response.statusCode = kind === 'error' ? 500 : 200;
  setTimeout(() => response.end(kind), kind === 'slow' ? 1200 : 1);
});

function get(port, kind) {
  return new Promise((resolve, reject) => {
    http.get({ host: '127.0.0.1', port, path: `/${kind}` }, (response) => {
      response.resume();
      response.on('end', () => {
        console.log(JSON.stringify({ kind, trace_id: response.headers['x-trace-id'] }));
        resolve();
      });
    }).on('error', reject);
  });
}

async function main() {
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  const requests = [get(port, 'error'), get(port, 'slow')];
  for (let i = 0; i < FAST; i++) requests.push(get(port, 'fast'));
  await Promise.all(requests);
  server.close();
  await sdk.shutdown();
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
