"""Validates the bills of materials in a directory: JSON schema, and what the
schema cannot express."""

import json
import pathlib
import sys

from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

directory = pathlib.Path(sys.argv[1])
validator = JsonStrictValidator(SchemaVersion.V1_6)
faults = []
count = 0

for file in sorted(directory.glob("*.cdx.json")):
    count += 1
    text = file.read_text()
    for error in validator.validate_str(text, all_errors=True) or ():
        faults.append(f"{file.name}: {error}")
    # Every reference must have a component.
    Bom.from_json(json.loads(text)).validate()

for file in sorted(directory.glob("*.spdx.json")):
    count += 1
    document = parse_file(str(file))
    for message in validate_full_spdx_document(document):
        faults.append(f"{file.name}: {message.validation_message}")

if faults or not count:
    sys.exit("\n".join(faults) or "there are no bills")
print(f"bills of materials: {count}")
