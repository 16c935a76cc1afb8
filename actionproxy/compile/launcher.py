"""Starts a Python action: launcher.py <folder of the action> <name of its main function>.

The action proxy runs this in that folder, with the package weft beside this file.
"""

import os
import sys
import traceback
import types

FUSED = "weft-fused.json"
CANDIDATES = ("__main__.py", "main.py", "exec.py")


def load(folder):
    """The user's module, and the file it is in. Names of files are relative, as the user knows them."""
    for name in CANDIDATES:
        if os.path.isfile(os.path.join(folder, name)):
            return load_file(folder, name, name[:-3].strip("_")), name
    sys.exit("the action has none of the files " + ", ".join(CANDIDATES))


def load_file(folder, name, module_name):
    with open(os.path.join(folder, name), "rb") as f:
        source = f.read()
    module = types.ModuleType(module_name)
    module.__file__ = os.path.join(folder, name)
    sys.modules[module.__name__] = module
    exec(compile(source, name, "exec"), module.__dict__)
    return module


def load_fused(folder):
    """The stages of a fused group and their functions. Each is one file in a folder of its own, whose name is
    its module's: no import has that."""
    import json  # not before a user's own module of that name can be found
    with open(os.path.join(folder, FUSED), encoding="utf-8") as f:
        parts = json.load(f)
    for part in parts:
        inside = os.path.join(folder, part["dir"])
        [name] = os.listdir(inside)
        module = load_file(inside, name, part["dir"])
        yield part["stage"], target_of(module, part.get("main") or "main", name)


def target_of(module, name, file):
    target = getattr(module, name, None)
    if target is None:
        sys.exit(f"{file} has no {name}; it is what the action calls")
    return target


def site_packages(folder):
    """What the user has packed into a folder virtualenv, the way OpenWhisk's own runtime wants it."""
    lib = os.path.join(folder, "virtualenv", "lib")
    for name in sorted(os.listdir(lib)) if os.path.isdir(lib) else ():
        yield os.path.join(lib, name, "site-packages")


def report(error):
    """Prints an error without the frames of this file."""
    frames = error.__traceback__
    while frames and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    traceback.print_exception(type(error), error, frames)


def main(folder, name):
    sys.path[:1] = [folder, *site_packages(folder), sys.path[0]]
    sys.argv = [os.path.join(folder, CANDIDATES[0])]
    fused = os.path.isfile(os.path.join(folder, FUSED))
    try:
        if fused:
            parts = list(load_fused(folder))
        else:
            module, file = load(folder)
    except Exception as error:
        report(error)
        sys.exit(1)
    if fused:
        from weft import fuse
        fuse.serve_all(parts)
    else:
        import weft
        weft.serve(target_of(module, name, file))


if __name__ == "__main__":
    main(*sys.argv[1:])
