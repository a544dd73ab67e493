"""Many model servers as one ``Engine``: choose, send, try elsewhere, supervise."""

from enlarger.pool.pool import Member, Pool
from enlarger.pool.remote import RemoteEngine
from enlarger.pool.supervisor import Supervisor

__all__ = ["Member", "Pool", "RemoteEngine", "Supervisor"]
