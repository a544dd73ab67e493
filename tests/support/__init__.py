"""What several tests share: test doubles, made pictures and networks, running services, and other programs."""
