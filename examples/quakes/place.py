"""Takes what the pipeline needs of an earthquake out of the agency's record; other events are left out."""

STATES = {"CA": "California", "NV": "Nevada", "MX": "Mexico"}


def main(record):
    properties = record["properties"]
    if properties["type"] != "earthquake":
        return None
    # "4km W of Castaic, CA", or the name of a sea: the region is what stands last.
    region = properties["place"].rpartition(", ")[2]
    lon, lat, _ = record["geometry"]["coordinates"]
    return {"region": STATES.get(region, region), "magnitude": properties["mag"], "lon": lon, "lat": lat}
