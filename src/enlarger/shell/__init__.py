"""``enlarger upscale``: a shell user's files, enlarged in this process (``local``) or by a server (``remote``)."""
