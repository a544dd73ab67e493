"""``enlarger upscale``: upscales a shell user's files in this process (``local``) or on a server (``remote``)."""
