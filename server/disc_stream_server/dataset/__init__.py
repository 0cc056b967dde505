"""What has been received and labelled, as a dataset: for sharing, and for training again."""
