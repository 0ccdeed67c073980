"""Verify a file of "certmgr audit export --sign KEY", without certmgr.

    python verify_audit.py audit.jsonl audit.pub      exit 0: chain and signature are valid

It needs Python 3.11 and the package "cryptography". The public key comes from the private one:
openssl pkey -in audit.key -pubout -out audit.pub
"""

import hashlib
import json
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

SCHEMA = "certmgr.audit-export/1"
FIELDS = ("at", "actor", "action", "kind", "row_id", "detail")


def verify(path: str, key_path: str) -> str:
    with open(key_path, "rb") as file:
        key = load_pem_public_key(file.read())
    digest, head, count = hashlib.sha256(), "0" * 64, 0
    with open(path, "rb") as file:
        lines = iter(file)
        first = next(lines, b"{}")
        if json.loads(first).get("schema") != SCHEMA:
            raise ValueError("this is no export of the audit log")
        digest.update(first)
        for line in lines:
            entry = json.loads(line)
            if "hash" not in entry:  # the seal, which is the last line
                break
            values = [head, *(entry[name] for name in FIELDS)]
            content = json.dumps(values, ensure_ascii=True, separators=(",", ":"))
            head = hashlib.sha256(content.encode()).hexdigest()
            if entry["hash"] != head:
                raise ValueError(f"entry {entry['id']} does not follow the entry before it")
            digest.update(line)
            count += 1
        else:
            raise ValueError(f"the file was cut: it ends after {count} entries, without its seal")
        if next(lines, b""):
            raise ValueError("there are lines after the seal")
    if (entry["entries"], entry["head"], entry["sha256"]) != (count, head, digest.hexdigest()):
        raise ValueError("entries were changed, added or removed after the file was sealed")
    signed = (SCHEMA, count, head, entry["exported_at"], entry["sha256"])
    key.verify(bytes.fromhex(entry["signature"] or ""), "\n".join(map(str, signed)).encode())
    return f"{count} entries follow each other, head {head}, signed at {entry['exported_at']}"


if __name__ == "__main__":
    try:
        print(verify(*sys.argv[1:3]))
    except InvalidSignature:
        sys.exit("the signature is missing, or it was not made by this key for this file")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        sys.exit(f"not valid: {error}")
