//! Looks into a folder of segments that nobody needs to stop writing for: list, check, read.
