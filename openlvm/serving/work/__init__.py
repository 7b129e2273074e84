"""What a server does with requests once they are pictures: wait, be drawn together, be cancelled; knows no HTTP."""
