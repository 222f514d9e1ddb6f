"""Save a network, load it verified, keep what it is: safetensors, config.json and a model card in one folder.

`model.push_to_hub("owner/name")` or `stmga push my-weights owner/name` sends that folder to the Hub, and
`STMGA.from_pretrained("owner/name", revision="<commit>")` loads it from there.
"""

from pathlib import Path

import torch

import stmga

torch.manual_seed(0)
model = stmga.create_model("stmga_resnet18_c4").eval()
record = stmga.WeightRecord(
    name="stmga_resnet18_c4.example",
    config=model.config,
    sha256="0" * 64,  # filled in when it is saved
    training_data="none: random numbers",
    licence="MIT",
)
folder = Path("my-weights")
model.save_pretrained(folder, record=record)
print(*sorted(f"{file.name:<18}{file.stat().st_size:>10,} bytes" for file in folder.iterdir()), sep="\n")
print((folder / "README.md").read_text()[:600], "...\n")

again = stmga.STMGA.from_pretrained(folder)
clips = torch.rand(1, 8, 3, 256, 128)
with torch.inference_mode():
    assert torch.equal(model(clips), again(clips))  # bit for bit
assert again.record is not None
print("loaded", again.record.name, "sha256", again.record.sha256[:12], "digest", again.digest()[:12])

# A changed byte is refused.
weights = folder / "model.safetensors"
data = bytearray(weights.read_bytes())
data[-1] ^= 1
weights.write_bytes(data)
try:
    stmga.STMGA.from_pretrained(folder)
except ValueError as error:
    print("refused:", error)
else:
    raise SystemExit("a wrong byte went unnoticed")
