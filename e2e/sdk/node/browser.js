// A page with the SDK for browsers: it fetches from the app's own server within a span, and sends what it has to window.ingest.
import { trace, context } from '@opentelemetry/api';
import { WebTracerProvider, BatchSpanProcessor, StackContextManager } from '@opentelemetry/sdk-trace-web';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { FetchInstrumentation } from '@opentelemetry/instrumentation-fetch';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';

const settings = new URLSearchParams(location.search);
const provider = new WebTracerProvider({
  resource: defaultResource().merge(resourceFromAttributes({ 'service.name': 'page' })),
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({
    url: `${settings.get('ingest')}/v1/traces`,
    headers: { 'x-api-key': settings.get('key') },
  }))],
});
provider.register({ contextManager: new StackContextManager() });
new FetchInstrumentation({ ignoreUrls: [/v1\/traces/] }).setTracerProvider(provider);

async function main() {
  const span = trace.getTracer('page').startSpan('click on buy', { attributes: { 'page.title': document.title } });
  await context.with(trace.setSpan(context.active(), span), () => fetch('/order/fast'));
  // The span of a fetch ends a moment after it, when the browser has said how long each part took.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  span.end();
  await provider.forceFlush().catch((err) => { document.body.dataset.error = String(err); });
  document.body.dataset.trace = span.spanContext().traceId;
}

main().catch((err) => { document.body.dataset.error = String(err); });
