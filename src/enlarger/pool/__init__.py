"""Many model servers as one ``Engine``: choose, send, try elsewhere, supervise."""

from enlarger.pool.member import Member
from enlarger.pool.pool import Pool
from enlarger.pool.remote import RemoteEngine
from enlarger.pool.supervisor import Supervisor

__all__ = ["Member", "Pool", "RemoteEngine", "Supervisor"]
