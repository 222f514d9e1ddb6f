"""Train a network on rendered people, score it by a protocol, and fine-tune its weights. About half a minute.

On your own images: `load_benchmark("labelled", layout="{person}/{camera}/{tracklet}", holdout=0.2)`.
"""

import torch

import stmga
from stmga.data import walkers_benchmark
from stmga.metrics import evaluate
from stmga.train import recipe, train

benchmark = walkers_benchmark(8, 4, cameras=2, tracklets=2, frames=4, size=(64, 32))
print(f"{len(benchmark.train)} tracklets to train on, {len(benchmark.query)} queries of other persons")

torch.manual_seed(0)
config = stmga.STMGAConfig(backbone="resnet18", stage="c4", size=(64, 32), clip_length=2)
result = train(
    stmga.STMGA(config), benchmark, recipe("cpu", persons=4, epochs=4), "run"
)  # run again to resume, or to see that it is done
print(result.table(), "\n")

# What the run saved is a network like any other.
model = stmga.STMGA.from_pretrained("run/best")
embed = stmga.TrackletEmbedder(model)
print(evaluate(embed(benchmark.query), embed(benchmark.gallery), benchmark.protocol), "\n")

# Other people, another run: the classifiers of the old ones are not part of the network.
others = walkers_benchmark(6, 4, cameras=2, tracklets=2, frames=4, size=(64, 32), seed=1)
tuned = train(model, others, recipe("small", persons=4, clips=2, stride=1, epochs=2), "tuned", started_from="run/best")
print("fine-tuned on others:", {name: round(value, 3) for name, value in tuned.best.items()})
