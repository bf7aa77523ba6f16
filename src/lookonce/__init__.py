"""lookonce: YOLOv3, complete, readable and trainable."""
