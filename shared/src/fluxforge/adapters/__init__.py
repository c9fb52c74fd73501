"""The adapters: the ports filled by JetStream, the file system and memory."""
