"""S3: who pays for requests, and a bucket policy that denies requests without TLS."""

import json
from typing import Any

from moto.s3.models import FakeBucket
from moto.s3.responses import S3Response

_get_permission = FakeBucket.get_permission
_bucket_response_get = S3Response._bucket_response_get
REQUESTER = (
    '<RequestPaymentConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Payer>BucketOwner</Payer></RequestPaymentConfiguration>"
)


def bucket_response_get(response: Any, bucket_name: str, querystring: dict[str, Any]) -> Any:
    """Moto answers GetBucketRequestPayment with a listing; the bucket's owner pays."""
    if "requestPayment" in querystring:
        response.backend.get_bucket(bucket_name)  # refuses a bucket that does not exist
        return REQUESTER
    return _bucket_response_get(response, bucket_name, querystring)


def get_permission(bucket: Any, action: str, resource: str) -> Any:
    """Moto ignores conditions, so a Deny without TLS would always hold; the emulator has no TLS."""
    whole = bucket.policy
    if whole is None:
        return _get_permission(bucket, action, resource)
    document = json.loads(whole)
    document["Statement"] = [part for part in document["Statement"] if not _requires_tls(part)]
    bucket.policy = json.dumps(document).encode() if document["Statement"] else None
    try:
        return _get_permission(bucket, action, resource)
    finally:
        bucket.policy = whole


def install() -> None:
    """Correct moto's classes."""
    responses, bucket = S3Response, FakeBucket
    responses._bucket_response_get = bucket_response_get  # type: ignore[method-assign,assignment]
    bucket.get_permission = get_permission  # type: ignore[method-assign,assignment]


def _requires_tls(statement: dict[str, Any]) -> bool:
    tests = statement.get("Condition") or {}
    return any("aws:SecureTransport" in test for test in tests.values())
