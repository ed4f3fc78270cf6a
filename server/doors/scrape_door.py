"""The door of scraped samples: harvests go to the tenant of their job, by the way of all others."""

import logging

from scrape.visit import Harvest
from server.access.auth import DEFAULT_TENANT, Principal
from server.access.keys import ANY, load_keys
from server.doors.ingest import Delivery, ingest
from server.doors.scraping import Scraping
from server.house import House
from server.metrics.scrape_metrics import ScrapeCollector
from server.settings import Settings

log = logging.getLogger("o11y.scrape")

DOOR = "scrape"


def start_scraping(house: House) -> None:
    """Begins to scrape where a configuration is set; ConfigError or OSError where it is bad."""
    path = house.settings.config_file
    if path is None:
        return
    common = scrape_tenant(house.settings)

    def tenant_of(job: str) -> str:
        return house.limits.config.scrape_tenants.get(job, common)

    async def deliver(harvest: Harvest) -> None:
        delivery = Delivery(harvest.batch, harvest.metadata, harvest.refused, harvest.refusals)
        outcome = await ingest(house, Principal(tenant_of(harvest.job)), DOOR, delivery)
        if outcome.refused:
            log.debug("job %s: %s", harvest.job, outcome.text())

    house.scraping = Scraping(path, deliver, tenant_of)
    house.metrics.registry.register(ScrapeCollector(house.scraping))


def scrape_tenant(settings: Settings) -> str:
    """Whose scraped samples are: as set, else the only tenant of the keys, else the default one."""
    if settings.scrape_tenant:
        return settings.scrape_tenant
    if settings.keys_file is None:
        return DEFAULT_TENANT
    tenants = {
        tenant for key in load_keys(settings.keys_file) for tenant in key.tenants if tenant != ANY
    }
    return tenants.pop() if len(tenants) == 1 else DEFAULT_TENANT
