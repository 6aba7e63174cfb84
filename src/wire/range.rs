//! HTTP ranges and validators: the grammar of Range, If-Range and ETag.
