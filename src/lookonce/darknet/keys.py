"""Keys of a `.cfg` that do not change what the network computes from an image.

They are ignored, and listed once when a model is converted. Keys that are neither listed here nor read by
`cfg` are ignored too, as in Darknet, with a warning. Sources: the wiki pages "CFG Parameters" of AlexeyAB's
Darknet, and the official files.
"""

_NET = """
    batch subdivisions max_batches burn_in policy learning_rate learning_rate_min learning_rate_cycle_mult
    steps scales seq_scales scale step gamma power momentum decay adam B1 B2 eps
    angle aspect saturation exposure hue blur gaussian_noise mosaic mosaic_bound mixup cutmix flip
    min_crop max_crop min_ratio max_ratio center clip random resize_step label_smooth_eps max_epochs inputs
    sgdr_cycle sgdr_mult use_cuda_graph
    ema_alpha loss_scale dynamic_minibatch sequential_subdivisions init_sequential_subdivisions
    num_sigmas_reject_badlabels badlabels_reject_threshold badlabels_rejection_percentage
    equidistant_point weights_reject_freq adversarial_lr attention contrastive contrastive_jit_flip
    contrastive_color unsupervised max_chart_loss track augment_speed time_steps try_fix_nan
    optimized_memory workspace_size_limit_MB
"""
_ANY_LAYER = "stopbackward onlyforward train_only_bn learning_rate burnin_update grad_centr dontsave smooth"
_YOLO = """
    jitter resize ignore_thresh truth_thresh random map max max_delta label_smooth_eps focal_loss
    iou_loss iou_thresh iou_thresh_kind iou_normalizer obj_normalizer cls_normalizer delta_normalizer
    uc_normalizer objectness_smooth counters_per_class nms_kind beta_nms show_details
    embedding_layer track_history_size track_ciou_norm sim_thresh dets_for_track dets_for_show
"""
_REGION = """
    jitter rescore thresh random absolute bias_match object_scale noobject_scale class_scale coord_scale
    classfix log map focal_loss max
"""
HARMLESS = {
    "region": frozenset((_ANY_LAYER + _REGION).split()),
    "Gaussian_yolo": frozenset((_ANY_LAYER + _YOLO).split()),
    "net": frozenset(_NET.split()),
    "yolo": frozenset((_ANY_LAYER + _YOLO).split()),
    # `bin_output` is for the layers that read the output, which make it binary themselves
    "convolutional": frozenset((_ANY_LAYER + " bin_output").split()),
    "contrastive": frozenset(
        ["classes", "temperature", "yolo_layer", "cls_normalizer", "max_delta", "contrastive_neg_max"]
    ),
    "dropout": frozenset(
        (_ANY_LAYER + " probability dropblock dropblock_size_rel dropblock_size_abs").split()
    ),
}
HARMLESS_IN_ANY_LAYER = frozenset(_ANY_LAYER.split())

# Keys of features that would change the numbers, with the only value allowed, which switches the feature off.
SWITCHED_OFF = {
    "convolutional": {
        "flipped": "0", "binary": "0", "antialiasing": "0",
        "assisted_excitation": "0", "deform": "0", "sway": "0", "rotate": "0", "stretch": "0",
        "stretch_sway": "0", "reverse": "0", "coordconv": "0", "dontload": "0", "dontloadscales": "0",
        "numload": "0",
    },
    "shortcut": {"weights_type": "none", "weights_normalization": "none", "alpha": "1", "beta": "1"},
    "maxpool": {"maxpool_depth": "0", "antialiasing": "0"},
    "upsample": {"scale": "1"},
    "region": {"coords": "4", "background": "0"},
    "Gaussian_yolo": {"yolo_point": "center"},
}  # fmt: skip

# Keys and sections that only exist in AlexeyAB's fork of Darknet and in hank-ai's. By default, these stretch
# images to the input size, whereas the original Darknet letterboxes them.
_STRETCHING = """
    mosaic mosaic_bound mixup cutmix blur gaussian_noise ema_alpha loss_scale dynamic_minibatch
    optimized_memory workspace_size_limit_MB label_smooth_eps max_chart_loss sequential_subdivisions
    sgdr_cycle sgdr_mult use_cuda_graph resize_step scale_x_y new_coords iou_loss iou_thresh iou_normalizer
    obj_normalizer cls_normalizer delta_normalizer uc_normalizer objectness_smooth max_delta nms_kind beta_nms
    resize counters_per_class show_details stride_x stride_y dilation antialiasing group_id
    weights_type weights_normalization scale_wh maxpool_depth bin_output
    [scale_channels] [sam] [local_avgpool] [reorg3d] [Gaussian_yolo]
"""
STRETCHING = frozenset(_STRETCHING.split())
