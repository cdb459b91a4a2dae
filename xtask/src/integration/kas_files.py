"""Checks files of kas with the schema that kas uses.

Arguments: the files. Prints how many were checked.
"""
import sys

import jsonschema
import yaml
from kas.configschema import CONFIGSCHEMA

for file in sys.argv[1:]:
    with open(file) as text:
        jsonschema.validate(yaml.safe_load(text), CONFIGSCHEMA)
print("%d files" % (len(sys.argv) - 1))
