"""The layers around a Quart application that gateway and model server share, and what starts and stops both."""
