SELECT last FROM purged
