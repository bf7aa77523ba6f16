"""Keys that a `.cfg` may hold and that do not change what the network computes from an image.

Everything here is passed by when a model is run, and listed once so that nobody wonders. A key that is
neither here nor read by `cfg` is an error: misspelt, it would change the network in silence.
Source: the wiki pages "CFG Parameters" of AlexeyAB's Darknet, and the official files.
"""

_NET = """
    batch subdivisions max_batches burn_in policy learning_rate learning_rate_min learning_rate_cycle_mult
    steps scales seq_scales scale step gamma power momentum decay adam B1 B2 eps
    angle aspect saturation exposure hue blur gaussian_noise mosaic mosaic_bound mixup cutmix flip
    min_crop max_crop min_ratio max_ratio center clip random resize_step letter_box label_smooth_eps
    ema_alpha loss_scale dynamic_minibatch sequential_subdivisions init_sequential_subdivisions
    num_sigmas_reject_badlabels badlabels_reject_threshold badlabels_rejection_percentage
    equidistant_point weights_reject_freq adversarial_lr attention contrastive contrastive_jit_flip
    contrastive_color unsupervised max_chart_loss track augment_speed time_steps try_fix_nan
    optimized_memory workspace_size_limit_MB
"""
_ANY_LAYER = "stopbackward onlyforward train_only_bn learning_rate burnin_update grad_centr"
_YOLO = """
    jitter resize ignore_thresh truth_thresh random map max max_delta label_smooth_eps focal_loss
    iou_loss iou_thresh iou_thresh_kind iou_normalizer obj_normalizer cls_normalizer delta_normalizer
    uc_normalizer objectness_smooth counters_per_class nms_kind beta_nms show_details
    embedding_layer track_history_size track_ciou_norm sim_thresh dets_for_track dets_for_show
"""
HARMLESS = {
    "net": frozenset(_NET.split()),
    "yolo": frozenset((_ANY_LAYER + _YOLO).split()),
    "dropout": frozenset(
        (_ANY_LAYER + " probability dropblock dropblock_size_rel dropblock_size_abs").split()
    ),
}
HARMLESS_IN_ANY_LAYER = frozenset(_ANY_LAYER.split())

# Features that would change the arithmetic; their keys may stand with the value that switches them off.
SWITCHED_OFF = {
    "convolutional": {
        "dilation": "1", "flipped": "0", "binary": "0", "xnor": "0", "bin_output": "0", "antialiasing": "0",
        "assisted_excitation": "0", "deform": "0", "sway": "0", "rotate": "0", "stretch": "0",
        "stretch_sway": "0", "reverse": "0", "coordconv": "0", "dontload": "0", "dontloadscales": "0",
        "numload": "0",
    },
    "shortcut": {"weights_type": "none", "weights_normalization": "none", "alpha": "1", "beta": "1"},
    "maxpool": {"maxpool_depth": "0", "antialiasing": "0"},
    "upsample": {"scale": "1"},
    "yolo": {"new_coords": "0"},
}  # fmt: skip
