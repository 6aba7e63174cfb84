//! Floor 2: durable truth. One writer; what it acknowledged survives power loss in the next instant.
