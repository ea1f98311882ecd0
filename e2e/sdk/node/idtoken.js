// Instead of auto-instrumentations-node/register: the same, but each export asks for headers, so that a Google-signed ID token is
// renewed before it expires. ID_TOKEN_AUDIENCE is what the token is made out to.
'use strict';

const { NodeSDK, logs, tracing } = require('@opentelemetry/sdk-node');
const { getNodeAutoInstrumentations } = require('@opentelemetry/auto-instrumentations-node');
const { OTLPTraceExporter } = require('@opentelemetry/exporter-trace-otlp-proto');
const { OTLPLogExporter } = require('@opentelemetry/exporter-logs-otlp-proto');
const { GoogleAuth } = require('google-auth-library');

const audience = process.env.ID_TOKEN_AUDIENCE;
const client = new GoogleAuth().getIdTokenClient(audience);
client.catch(() => {}); // said by the exporter, whose headers fail
const headers = async () => ({ authorization: (await (await client).getRequestHeaders()).get('authorization') });

const sdk = new NodeSDK({
  instrumentations: [getNodeAutoInstrumentations()],
  spanProcessors: [new tracing.BatchSpanProcessor(new OTLPTraceExporter({ headers }))],
  logRecordProcessors: [new logs.BatchLogRecordProcessor({ exporter: new OTLPLogExporter({ headers }) })],
});
sdk.start();
process.on('SIGTERM', () => sdk.shutdown());
