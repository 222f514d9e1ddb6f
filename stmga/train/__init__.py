"""Training, so far the losses of the paper; an optional submodule that nothing else of stmga imports."""

from stmga.train.losses import identity_loss, part_attention_loss, part_class_loss, triplet_loss

__all__ = ["identity_loss", "part_attention_loss", "part_class_loss", "triplet_loss"]
