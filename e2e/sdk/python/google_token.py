"""A session that shows a Google-signed ID token and renews it before it expires.

OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER names it, by an entry point of the group opentelemetry_otlp_credential_provider.
"""

import os

import requests
from google.auth.transport.requests import AuthorizedSession, Request
from google.oauth2.id_token import fetch_id_token_credentials


def session() -> requests.Session:
    return AuthorizedSession(fetch_id_token_credentials(os.environ["ID_TOKEN_AUDIENCE"], request=Request()))
