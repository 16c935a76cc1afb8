"""A stage between: each event goes on as it is."""


def main(event):
    return event
