from datetime import datetime, timezone


def main(args):
    """Makes the time of a log line one of UTC."""
    local = datetime.strptime(args["time"], "%d/%b/%Y:%H:%M:%S %z")
    args["time"] = local.astimezone(timezone.utc).strftime("%a %H:%M")
    return args
