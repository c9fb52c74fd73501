"""A store on S3, or on anything that speaks its protocol and keeps its promise about conditional writes."""

from fluxforge.adapters.s3.client import S3Options
from fluxforge.adapters.s3.store import S3Store

__all__ = ["S3Options", "S3Store"]
