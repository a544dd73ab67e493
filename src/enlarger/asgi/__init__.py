"""What gateway and model server share: starting and stopping, bodies under a limit, request ids, logs, metrics."""
