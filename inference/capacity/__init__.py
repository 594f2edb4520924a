"""What a box of cards can serve: arithmetic on shapes and data sheets. It measures nothing and starts nothing."""
