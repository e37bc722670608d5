"""What ``langgraph.json`` names: the served graphs, and the saver that keeps their runs in Postgres.

=========  ==========================================================  ==================================
graph      input                                                       result
=========  ==========================================================  ==================================
mission    mission, approve_plan?, dry_run?                            channel ``result``: MissionResult
team       mission, team: {name, goal}, approve_plan?, dry_run?        the same
agent      mission, task                                               the same
review     review_item of a mission that exists                        channel ``review_decision``
=========  ==========================================================  ==================================

The id of the thread is the id of the mission, so ``chimera show`` and ``chimera resume`` know it too. The server has no
users of its own yet: offer it on loopback only.
"""

from chimera.graphs.mission import build_mission
from chimera.graphs.review import build_review
from chimera.server.alone import build_agent_alone, build_team_alone
from chimera.server.asked import AgentAsked, MissionAsked, ReviewAsked, TeamAsked
from chimera.server.served import ServedGraph, ServedMission
from chimera.server.services import Services

_services = Services()

checkpointer = _services.saver
"""Opens the services of the process when the server starts, and closes them when it stops."""

mission = ServedMission.of(build_mission(), _services, MissionAsked)
team = ServedMission.of(build_team_alone(), _services, TeamAsked)
agent = ServedMission.of(build_agent_alone(), _services, AgentAsked)
review = ServedGraph.of(build_review(), _services, ReviewAsked)
