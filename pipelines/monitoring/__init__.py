"""What the released versions answer, against what they were trained on and what came true."""
