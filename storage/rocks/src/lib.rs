//! cairn-storage-rocks
