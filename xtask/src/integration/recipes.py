"""Parses recipes, classes and configuration of the layer, and checks the
syntax of their Python and shell functions.

Arguments: the files. Prints how many files and functions were checked.
"""
import re
import subprocess
import sys
import textwrap

from oelint_parser.cls_item import Function, PythonBlock
from oelint_parser.cls_stash import Stash

stash = Stash(quiet=True)
for file in sys.argv[1:]:
    stash.AddFile(file)
stash.Finalize()

functions = 0
faults = []
for item in stash.GetItemsFor():
    where = "%s:%s" % (item.Origin, item.InFileLine)
    if isinstance(item, PythonBlock):
        functions += 1
        source = item.Raw
    elif isinstance(item, Function) and item.IsPython:
        functions += 1
        source = "def function():\n" + textwrap.indent(item.FuncBodyRaw, " ")
    elif isinstance(item, Function):
        functions += 1
        # What bitbake expands looks like a parameter to the shell, except for
        # expressions.
        source = re.sub(r"\$\{@.*?\}", "x", "f() {\n%s\n}\n" % item.FuncBodyRaw)
        shell = subprocess.run(["sh", "-n"], input=source, text=True, capture_output=True)
        if shell.returncode != 0:
            faults.append("%s: %s" % (where, shell.stderr.strip()))
        continue
    else:
        continue
    try:
        compile(source, where, "exec")
    except SyntaxError as error:
        faults.append("%s: %s" % (where, error))

if faults:
    sys.exit("\n".join(faults))
print("%d files, %d functions" % (len(sys.argv) - 1, functions))
