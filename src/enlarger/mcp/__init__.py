"""``enlarger mcp``: a server of the Model Context Protocol, so that assistants upscale pictures in named folders."""
