"""Makes the buckets given as arguments that are not there yet."""

import os
import sys

import boto3


def main(buckets: list[str]) -> None:
    """Create every bucket of `buckets` that is missing; print which."""
    s3 = boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT_URL"])
    present = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for bucket in buckets:
        if bucket not in present:
            s3.create_bucket(Bucket=bucket)
            print(f"made bucket {bucket}")


if __name__ == "__main__":
    main(sys.argv[1:])
