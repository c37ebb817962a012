//! One log event as bytes: MessagePack, tags, times, edits, JSON.
