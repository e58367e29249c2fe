"""S3: who pays for requests, which moto answers with a listing."""

from typing import Any

from helpers.rehearsal.double.call import Call, Operations, Refusal


def get_bucket_request_payment(call: Call) -> dict[str, Any]:
    """The owner of the bucket pays, as always when nobody said otherwise."""
    name = call.params["Bucket"]
    if name not in call.backend("s3", "aws").buckets:
        raise Refusal("NoSuchBucket", "The specified bucket does not exist", 404)
    return {"Payer": "BucketOwner"}


OPERATIONS: Operations = {"GetBucketRequestPayment": get_bucket_request_payment}
