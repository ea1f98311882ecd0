// An HTTP server and its client in one process, instrumented by the OpenTelemetry SDK. Requests of every kind that the
// tests want: one succeeds, one fails, one comes from outside.
'use strict';

const { NodeSDK } = require('@opentelemetry/sdk-node');
const { HttpInstrumentation } = require('@opentelemetry/instrumentation-http');

// Before http is loaded, so that it is instrumented. Headers become attributes that are arrays.
const sdk = new NodeSDK({
  instrumentations: [new HttpInstrumentation({
    headersToSpanAttributes: { server: { requestHeaders: ['x-basket'] }, client: { responseHeaders: ['content-type'] } },
  })],
});
sdk.start();

const http = require('node:http');
const net = require('node:net');
const { trace, SpanKind, SpanStatusCode } = require('@opentelemetry/api');
const { logs, SeverityNumber } = require('@opentelemetry/api-logs');

const tracer = trace.getTracer('shop', '1.4.2');
const log = logs.getLogger('shop', '1.4.2');

function charge(basket) {
  return tracer.startActiveSpan('charge', { kind: SpanKind.INTERNAL }, (span) => {
    span.setAttributes({
      'shop.items': basket.split(','), 'shop.prices': [12.5, 3], 'shop.gift': [true, false], 'shop.total': 15.5, 'shop.express': true,
    });
    span.addEvent('card.checked', { 'card.network': 'visa', attempt: 1 });
    try {
      if (basket.includes('unsellable')) throw new RangeError(`no price for ${basket}`);
    } catch (err) {
      err.stack = err.stack.replaceAll(`${process.cwd()}/`, '');
      span.recordException(err);
      span.setStatus({ code: SpanStatusCode.ERROR, message: err.message });
      log.emit({
        severityNumber: SeverityNumber.ERROR, severityText: 'error', body: 'charge failed',
        attributes: { 'exception.type': err.name, 'exception.message': err.message, 'exception.stacktrace': err.stack, retry: false },
      });
      throw err;
    } finally {
      span.end();
    }
  });
}

const server = http.createServer((request, response) => {
  const basket = request.headers['x-basket'];
  log.emit({ severityNumber: SeverityNumber.DEBUG, severityText: 'debug', body: `serving ${request.url}` });
  try {
    charge(basket);
    // A structured body, and the attributes that Google's exporters give a meaning to.
    log.emit({
      severityNumber: SeverityNumber.INFO, severityText: 'info',
      body: { message: 'order placed', order: { id: 4711, items: basket.split(','), total: 15.5, paid: true, coupon: null } },
      attributes: {
        'gcp.log_name': 'orders', 'gcp.source_location': { file: 'app.js', line: 44, function: 'serve' }, 'http.route': '/order',
        'gcp.http_request': { requestMethod: 'POST', requestUrl: '/order', status: 200, latency: '0.004s' },
      },
    });
  } catch (err) {
    response.statusCode = 500;
    log.emit({ severityNumber: SeverityNumber.WARN, severityText: 'warn', body: 'order refused', attributes: { 'shop.items': basket.split(',') } });
  }
  response.setHeader('content-type', 'text/plain');
  response.end('done');
});

function order(port, basket) {
  return new Promise((resolve, reject) => {
    http.request({ host: '127.0.0.1', port, path: '/order?from=cart', method: 'POST', headers: { 'x-basket': basket } }, (response) => {
      response.resume();
      response.on('end', resolve);
    }).on('error', reject).end();
  });
}

// behindFrontEnd orders as Cloud Run's front end does: with a parent span that nobody will ever send, and not by an instrumented client.
function behindFrontEnd(port) {
  const request = ['POST /order HTTP/1.1', 'Host: shop.example.com', 'User-Agent: Mozilla/5.0', 'X-Forwarded-For: 203.0.113.7',
    'X-Forwarded-Proto: https', 'x-basket: plum', 'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', 'Connection: close'];
  return new Promise((resolve, reject) => {
    net.connect(port, '127.0.0.1').on('close', resolve).on('error', reject).resume().end(`${request.join('\r\n')}\r\n\r\n`);
  });
}

// nightly is a trace of its own that is linked to both orders'.
function nightly(links) {
  tracer.startActiveSpan('nightly report', { kind: SpanKind.CONSUMER, links, root: true }, (span) => {
    log.emit({ severityNumber: SeverityNumber.INFO2, body: Buffer.from('report'), eventName: 'report.written' });
    span.end();
  });
  log.emit({ severityNumber: SeverityNumber.FATAL, severityText: 'fatal', body: 'shop closes', attributes: { code: 3 } });
}

async function main() {
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  const links = [];
  for (const basket of ['apple,pear', 'unsellable']) {
    await tracer.startActiveSpan('checkout', async (span) => {
      links.push({ context: span.spanContext(), attributes: { basket } });
      await order(port, basket);
      span.end();
    });
  }
  await behindFrontEnd(port);
  nightly(links);
  server.close();
  await sdk.shutdown();
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
