//! DNS messages: a thin face on `hickory-proto`.
