"""The recipes: each system is a few lines here; the parts they are made of are in crossmodal/."""

from crossmodal.recipe import Recipe, Stage

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="efficientnet-minilm",
            image_tower="efficientnet_b0.ra_in1k",
            text_tower="sentence-transformers/all-MiniLM-L12-v2",
            # AdamW at 1e-4 until the space is there, then fine-tuning at 5e-6.
            stages=(Stage(epochs=6, lr=1e-4, end_lr=5e-6), Stage(epochs=4, lr=5e-6, end_lr=5e-6)),
            batch_size=64,
        ),
        Recipe(
            name="compact",
            image_tower="tf_efficientnet_lite0.in1k",
            text_tower="sentence-transformers/all-MiniLM-L6-v2",
            stages=(Stage(epochs=8, lr=1e-3),),
            resize="squash",
            batch_size=128,
            captions_per_image=2,
            head_start_epochs=15,
            # From projections that fit already, the towers move gently.
            image_lr_scale=0.2,
            text_lr_scale=0.1,
            views=3,
            projection_lr_scale=0.3,
            frozen_stages=3,
            weight_decay=0.05,
        ),
    )
}
DEFAULT = "efficientnet-minilm"
WITHOUT_DOWNLOAD = "compact"
