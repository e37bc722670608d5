"""The services with which people govern an installation, made in one place for missions and for commands alike."""

from dataclasses import dataclass
from datetime import timedelta

from chimera.core.clock import Clock
from chimera.core.ids import NewId
from chimera.core.settings import Settings
from chimera.guards.bands import BandKeeper
from chimera.guards.decisions import Decisions
from chimera.guards.incidents import Incidents
from chimera.guards.permissions.accounts import Accounts
from chimera.guards.permissions.authorizer import Authorizer
from chimera.guards.permissions.directory import Directory
from chimera.guards.permissions.enrolling import Enrolment
from chimera.guards.permissions.first import FirstStart
from chimera.guards.permissions.identities import Identities
from chimera.guards.permissions.keys import Keys
from chimera.guards.permissions.people import People
from chimera.guards.permissions.permitted import Permitted
from chimera.guards.permissions.policies import shipped_policies
from chimera.guards.permissions.tenants import Tenants
from chimera.guards.policy.proposing import Proposals
from chimera.guards.tool_changes import ToolChanges
from chimera.review.calibration.store import CalibrationStore
from chimera.review.queue import ReviewQueue
from chimera.store.audit import AuditLog
from chimera.store.grants import GrantStore
from chimera.store.keys import KeyStore
from chimera.store.pins import PinStore
from chimera.store.policies import PolicyStore
from chimera.store.postgres import Pool
from chimera.store.principals import PrincipalStore


@dataclass(frozen=True)
class Oversight:
    """Who there is, what they may and what they decide; incidents, and policies and tools put forward."""

    first: FirstStart
    principals: PrincipalStore
    directory: Directory
    people: People
    enrolment: Enrolment
    keys: Keys
    accounts: Accounts
    identities: Identities
    tenants: Tenants
    permitted: Permitted
    incidents: Incidents
    proposals: Proposals
    tool_changes: ToolChanges
    decisions: Decisions
    bands: BandKeeper


def oversee(
    settings: Settings, pool: Pool, reviews: ReviewQueue, audit: AuditLog, clock: Clock, new_id: NewId
) -> Oversight:
    """Make the services on a database that has its schema. Reads the shipped permissions; asks the database nothing."""
    policies = shipped_policies()
    directory = Directory(policies.model, clock)
    authorizer = Authorizer(policies, directory, clock)
    principals, grants, keys = PrincipalStore(pool), GrantStore(pool, audit, clock, new_id), KeyStore(pool)
    first = FirstStart(principals, audit, clock, FirstStart.of(settings))
    people = People(authorizer, principals, grants, audit, clock, first)
    incidents = Incidents(
        pool,
        reviews,
        audit,
        clock,
        pool_limit=settings.incident_pool_limit,
        window_s=settings.incident_window_s,
        new_id=new_id,
    )
    proposals = Proposals(pool, PolicyStore(pool, audit), reviews, audit, clock, new_id)
    tool_changes = ToolChanges(pool, PinStore(pool), reviews, audit, clock, new_id)
    accounts = Accounts(
        pool,
        people,
        principals,
        audit,
        clock,
        idle=timedelta(seconds=settings.server_session_idle_s),
        lasts=timedelta(seconds=settings.server_session_s),
    )
    identities = Identities(pool, people, principals, accounts, audit, clock, settings.oidc_tenant)
    enrolment = Enrolment(people, principals, keys, [accounts.forget, identities.forget], audit, clock)
    return Oversight(
        first=first,
        principals=principals,
        directory=directory,
        people=people,
        enrolment=enrolment,
        keys=Keys(pool, people, principals, keys, audit, clock),
        accounts=accounts,
        identities=identities,
        tenants=Tenants(people, principals, enrolment, accounts),
        permitted=Permitted(authorizer, grants, clock, people=people),
        incidents=incidents,
        proposals=proposals,
        tool_changes=tool_changes,
        bands=BandKeeper(CalibrationStore(pool), people, proposals, incidents, audit, clock, new_id),
        decisions=Decisions(pool, people, reviews, proposals, incidents, tool_changes, audit, clock, new_id),
    )
