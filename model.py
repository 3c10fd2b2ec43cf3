"""The recipes: each system is a few lines here; the parts they are made of are in crossmodal/."""

from typing import Any

from crossmodal.recipe import WHOLE, Recipe, Stage

# What efficientnet-minilm and convnext-minilm share, as the public project that this one descends from found it to work;
# it had begun with efficientnet-minilm-original.
FROM_MINILM: dict[str, Any] = {
    "text_tower": "sentence-transformers/all-MiniLM-L12-v2",
    "image_lr_scale": 0.1,
    "text_lr_scale": 0.1,
    "batch_size": 64,
    "captions_per_image": 1,
    "image_dropout": 0.1,
    "text_dropout": 0.1,
    "views": 0,
    "colour": 0.1,
    "hue": 0.05,
    "patience": 3,
}
# What the two recipes with a text tower from scratch share.
MINICLIP: dict[str, Any] = {
    "image_tower": "resnet18.a1_in1k",
    "stages": (Stage(epochs=50, lr=3e-4),),
    "split": (0.7, 0.15, 0.15),
    "joint_size": 256,
    "projection": "mlp",
    "hidden_size": 512,
    "dropout": 0.1,
    "batch_size": 32,
    "captions_per_image": 1,
    "weight_decay": 1e-4,
    "warmup_epochs": 5.0,
    "patience": 10,
}
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="efficientnet-minilm",
            image_tower="efficientnet_b0.ra_in1k",
            stages=(Stage(epochs=25, lr=5e-4, frozen_image=5, frozen_text=8),),
            warmup_epochs=1.25,
            **FROM_MINILM,
        ),
        Recipe(
            name="convnext-minilm",
            image_tower="convnext_tiny.fb_in1k",
            stages=(Stage(epochs=20, lr=5e-4, frozen_image=3, frozen_text=8),),
            warmup_epochs=1.0,
            **FROM_MINILM,
        ),
        Recipe(
            name="efficientnet-minilm-original",
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
            stages=(Stage(epochs=8, lr=1e-3, frozen_image=3),),
            resize="squash",
            batch_size=128,
            captions_per_image=2,
            head_start_epochs=15,
            # From projections that fit already, the towers move gently.
            image_lr_scale=0.2,
            text_lr_scale=0.1,
            views=3,
            projection_lr_scale=0.3,
            weight_decay=0.05,
        ),
        # Two image towers side by side, frozen: indexes a quarter as fast as compact, and finds more.
        Recipe(
            name="compact-pair",
            image_tower="tf_efficientnet_lite0.in1k+tf_efficientnet_lite2.in1k",
            text_tower="sentence-transformers/all-MiniLM-L6-v2",
            stages=(Stage(epochs=8, lr=1e-3, frozen_image=WHOLE),),
            joint_size=512,
            image_size=320,
            image_stages="5,7",
            text_layers="0,3,6",
            projection="residual",
            hidden_size=1536,
            dropout=0.5,
            image_dropout=0.5,
            text_dropout=0.3,
            temperature=0.04,
            resize="squash",
            batch_size=512,
            captions_per_image=1,
            head_start_epochs=60,
            mixup=1.0,
            text_lr_scale=0.1,
            projection_lr_scale=0.1,
            views=3,
            colour=0.1,
            precision="bf16",
            weight_decay=0.05,
            start_share=0.25,
        ),
        Recipe(
            name="vit-minilm",
            image_tower="vit_base_patch16_224.augreg2_in21k_ft_in1k",
            text_tower="sentence-transformers/all-MiniLM-L6-v2",
            # What frozen towers give is computed once and kept.
            stages=(Stage(epochs=50, lr=1e-4, frozen_image=WHOLE, frozen_text=WHOLE),),
            joint_size=512,
            projection="mlp",
            hidden_size=512,
            dropout=0.1,
            augment=0,
            batch_size=128,
            captions_per_image=1,
            weight_decay=1e-4,
            patience=10,
        ),
        Recipe(
            name="densenet-bert",
            image_tower="densenet201.tv_in1k",
            text_tower="bert-base-uncased",
            stages=(Stage(epochs=5, lr=1e-4),),
            joint_size=256,
            text_pooling="cls",
            captions_per_image=1,
        ),
        Recipe(name="miniclip-lstm", text_tower="scratch:bilstm", **MINICLIP),
        Recipe(name="miniclip-transformer", text_tower="scratch:transformer", **MINICLIP),
        Recipe(
            name="efficientnet-bert",
            image_tower="efficientnet_b0.ra_in1k",
            text_tower="bert-base-uncased",
            stages=(
                Stage(epochs=20, lr=1e-2, end_lr=1e-2, frozen_image=WHOLE, frozen_text=WHOLE),
                Stage(epochs=10, lr=1e-3, end_lr=1e-3, frozen_image=WHOLE, frozen_text=WHOLE),
                Stage(epochs=20, lr=1e-5, end_lr=1e-5),
            ),
            joint_size=256,
            text_pooling="pooler",
            loss="nt-xent",
            temperature=0.1,
            learn_temperature=0,
            cache="memory",
            captions_per_image=1,
            augment=0,
        ),
    )
}
DEFAULT = "efficientnet-minilm"
WITHOUT_DOWNLOAD = "compact"
