"""Makes an event of each word: the bytes between ASCII white space, whatever they are."""
import re

def main(event):
    for word in re.findall(r"\S+", event["line"], re.ASCII):
        yield {"word": word}
