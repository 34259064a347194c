"""The app side: typed reading and building of stream messages, sessions and adapters."""
