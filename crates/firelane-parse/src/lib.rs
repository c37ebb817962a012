//! Text of a log line to a map.
